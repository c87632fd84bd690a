//! X.509-SVIDs, JWT-SVIDs, trust bundles, the authority that issues them and the TLS verifiers that check them
