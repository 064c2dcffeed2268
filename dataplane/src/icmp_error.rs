//! icmp_error
