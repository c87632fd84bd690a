//! A server and a client that call each other across trust domains
