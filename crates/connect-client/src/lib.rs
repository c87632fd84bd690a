//! The way to Connect: channel, credentials, retry and the resumable plan stream
