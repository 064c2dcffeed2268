//! The limits of one client of the SMTP server. (RFC 5321, sections 4.5.3.1 and 4.5.3.2)

use std::time::Duration;

/// The longest command line, in octets with its CRLF. RFC 5321, section 4.5.3.1.4, requires 512, and extensions add
/// less than 1200 for parameters of MAIL and RCPT. (RFC 1870; RFC 3461; RFC 4954; RFC 6152; RFC 6531)
pub const COMMAND_LINE_OCTETS_MAX: usize = 2048;
/// The longest line of an AUTH exchange, in octets with its CRLF. (RFC 4954, section 4)
pub const AUTH_LINE_OCTETS_MAX: usize = 12_288;
/// Octets of a line that is too long which are passed over in wait for its end. Beyond, the session ends.
pub const LINE_DISCARD_OCTETS_MAX: usize = 64 << 10;
/// The octets of a message's content that are passed on at a time. A session holds no more of a message.
pub const CHUNK_OCTETS: usize = 64 << 10;
/// The number of Received fields beyond which a message is in a loop. (RFC 5321, section 6.3)
pub const HOPS_MAX: u32 = 100;

/// How long the server waits for a command, and for the TLS handshake. (RFC 5321, section 4.5.3.2.7)
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// How long the server waits for the next [`DATA_PROGRESS_OCTETS`] of a message: longer than the 3 minutes of
/// RFC 5321, section 4.5.3.2.5.
pub const DATA_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// Octets of a message that a client brings within [`DATA_TIMEOUT`] at least.
pub const DATA_PROGRESS_OCTETS: usize = 1024;
/// The least average rate of a message in octets a second. A client may be late by [`DATA_TIMEOUT`], and no more if it
/// was faster before.
pub const DATA_OCTETS_A_SECOND: usize = 1024;

/// By how much a refusal is held back longer than the one before, once there were [`Limits::refusals_at_once`].
pub const TARPIT_STEP: Duration = Duration::from_secs(1);
/// The longest that a refusal is held back.
pub const TARPIT_MAX: Duration = Duration::from_secs(20);

/// The limits that depend on the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a message. (RFC 1870)
    pub message_octets_max: u64,
    /// The octets of a rejected message that are discarded until its end. Beyond, the session ends.
    pub refused_octets_max: u64,
    /// The most recipients of a message; RFC 5321, section 4.5.3.1.8, requires at least 100.
    pub recipients_max: usize,
    /// The most permanent rejections (5xx) since the last accepted message. With one more, the session ends.
    pub errors_max: u32,
    /// The most temporary rejections (4xx) since the last accepted message. With one more, the session ends.
    pub temporary_max: u32,
    /// The most unknown commands since the last accepted message. With one more, the session ends.
    pub unknown_commands_max: u32,
    /// The most commands without progress (NOOP, RSET, EHLO, VRFY ...) since the last accepted message. With one more,
    /// the session ends.
    pub idle_commands_max: u32,
    /// Logins that failed or could not be checked, in a session. With one more, the session ends.
    pub login_failures_max: u32,
    /// The rejections that are sent at once; later ones are delayed, each longer (tarpitting). `None`: all are sent at
    /// once.
    pub refusals_at_once: Option<u32>,
}

impl Limits {
    /// For clients from anywhere.
    pub const fn wan(message_octets_max: u64) -> Self {
        Self {
            message_octets_max,
            refused_octets_max: 256 << 20,
            recipients_max: 1000,
            errors_max: 20,
            // A client may name far more recipients than a message can have, and gets a reply for each.
            temporary_max: 10_000,
            unknown_commands_max: 10,
            idle_commands_max: 100,
            login_failures_max: 3,
            refusals_at_once: Some(3),
        }
    }

    /// For clients of the LAN: nothing is held back, and more is forgiven.
    pub const fn lan(message_octets_max: u64) -> Self {
        Self {
            errors_max: 1000,
            idle_commands_max: 1000,
            login_failures_max: 10,
            refusals_at_once: None,
            ..Self::wan(message_octets_max)
        }
    }
}
