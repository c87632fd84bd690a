//! Pure decisions: which services a cluster imports, which trust it holds, and why not
