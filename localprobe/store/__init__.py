"""Everything localprobe keeps on disk: runs, memoised measurements, atomic file writes, folders."""
