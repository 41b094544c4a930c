"""Figures drawn with matplotlib on Axes that are given: what reports and results show."""
