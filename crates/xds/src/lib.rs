//! An xDS server: resource cache, versions, delta and state of the world; knows no noun of the product
