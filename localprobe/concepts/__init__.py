"""From a word to a direction: pairs that models write on request, checked, fitted and validated."""
