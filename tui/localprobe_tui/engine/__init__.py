"""The engine in its child process, and the threads that wait for it."""
