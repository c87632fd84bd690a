//! A small SPIFFE server for laptops, demonstrations and tests
