//! Builders, and the whole plane in one process
