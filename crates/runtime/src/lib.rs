//! What every program needs: configuration layers, logging, metrics, the admin port, readiness and drain
