//! A DNS resolver for imported hostnames
