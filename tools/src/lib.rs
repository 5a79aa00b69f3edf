//! tidelog-tools
