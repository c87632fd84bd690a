//! Our custom resources and the Istio kinds that we read and write
