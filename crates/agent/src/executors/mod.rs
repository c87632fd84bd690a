//! What makes the outside look as was decided, where that is more than answering a request.

pub mod kubernetes;
