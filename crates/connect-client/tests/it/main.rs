//! The client against a server over real TLS, with certificates from the product's own authority.

mod channel;
mod plan_stream;
mod support;
