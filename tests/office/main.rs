//! The whole program with real clients on real TAP devices.
//!
//! Every test builds its own office: network namespaces with the process id in their names, a gateway whose ports are
//! the namespaces' `eth0`, and foreign programs as clients and servers. All of it is removed when the test ends, also
//! when it fails. Needs root; `./dev test` installs the programs.
//!
//! `profile.rs` runs most tests again over plain TAP devices, and with several workers.

mod admin;
mod admin_pages;
mod arp;
mod capture;
mod dhcp;
mod dhcp_life;
mod dhcp_options;
mod dns;
mod dns_floods;
mod dns_upstream;
mod dns_validators;
mod explain;
mod first_run;
mod forwards;
mod harness;
mod hostile;
mod lab;
mod lifecycle;
mod mail;
mod mail_auth;
mod mail_commands;
mod mail_in;
mod mail_judge;
mod mail_out;
mod mail_polled;
mod modes;
mod nat;
mod ntp;
mod parallel;
mod pop3;
mod profile;
mod reload;
mod running;
mod scan;
mod slow_disk;
mod smuggling;
mod state;
mod stun;
mod switch;
mod taps;
mod throughput;
mod tls;
mod transaction;
mod vlan;
mod wan;
mod wan_providers;
mod wan_servers;
mod workers;

use profile::profile;
