//! What is written, what is left alone, and what goes.
