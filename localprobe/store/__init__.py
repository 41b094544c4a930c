"""Everything localprobe stores on disk: runs, memoised measurements, atomic file writes, folders."""
