//! tidelog-fuzz
