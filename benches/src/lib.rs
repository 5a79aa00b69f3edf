//! tidelog-benches
