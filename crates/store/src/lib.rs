//! The control plane's persistent state: one trait per noun, one transaction per change
