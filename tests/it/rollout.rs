//! Deploy and resync across several servers, with bundles of a throw-away CA.
