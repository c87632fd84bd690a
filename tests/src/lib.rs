//! Tests of the whole: the plane in one process, the command line, and the real parts end to end
