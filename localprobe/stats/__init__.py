"""Statistics shared by probes and sweeps: AUROC, confidence intervals, rates."""
