//! The gRPC API, the plan resources and the SPIFFE and SPIRE interfaces, with fallible conversions to the nouns
