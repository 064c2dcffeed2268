//! The one-line replies. Response codes in brackets give programs the reason. (RFC 2449, section 8; RFC 3206)

pub(super) const OK: &str = "+OK";
pub(super) const BYE: &str = "+OK bye";
pub(super) const SAY_PASSWORD: &str = "+OK now PASS";
pub(super) const READY_FOR_TLS: &str = "+OK begin TLS";

pub(super) const UNKNOWN_COMMAND: &str = "-ERR there is no such command";
pub(super) const BAD_ARGUMENT: &str = "-ERR that is not what belongs behind the command";
pub(super) const NO_TEXT: &str = "-ERR a line is text in UTF-8 without control characters";
pub(super) const LINE_TOO_LONG: &str = "-ERR the line is too long";
pub(super) const BARE_LF: &str = "-ERR lines end with CR and LF";
pub(super) const ENDLESS: &str = "-ERR the line has no end";
pub(super) const TOO_MANY_ERRORS: &str = "-ERR too many errors";
pub(super) const TOO_MANY_COMMANDS: &str = "-ERR too many commands without a login";
pub(super) const SHUTTING_DOWN: &str =
    "-ERR [SYS/TEMP] the server is being restarted; nothing was deleted, try again";

pub(super) const LOGIN_FIRST: &str = "-ERR log in first";
pub(super) const USER_FIRST: &str = "-ERR USER comes before PASS";
pub(super) const LOGGED_IN_ALREADY: &str = "-ERR you are logged in";
pub(super) const LOGIN_NEEDS_TLS: &str = "-ERR a login needs TLS; switch on STLS, or port 995";
pub(super) const LOGIN_NEEDS_TLS_ALWAYS: &str = "-ERR a login needs TLS, which this server does not have";
pub(super) const LOGIN_REFUSED: &str = "-ERR [AUTH] user or password are wrong";
pub(super) const LOGIN_UNAVAILABLE: &str = "-ERR [SYS/TEMP] the login cannot be checked now; try again later";
pub(super) const LOGIN_CANCELLED: &str = "-ERR the login is cancelled";
pub(super) const BAD_BASE64: &str = "-ERR that is not base64";
pub(super) const BAD_LOGIN_MESSAGE: &str = "-ERR that is no message of the mechanism";
pub(super) const UNKNOWN_MECHANISM: &str = "-ERR there is no such mechanism";

pub(super) const IN_USE: &str = "-ERR [IN-USE] another session has the mailbox";
pub(super) const NOT_READY: &str = "-ERR [SYS/TEMP] the mailbox cannot be opened now; try again later";

pub(super) const TLS_ACTIVE: &str = "-ERR TLS is active";
pub(super) const NO_TLS: &str = "-ERR there is no TLS";

pub(super) const NO_MESSAGE: &str = "-ERR there is no such message";
pub(super) const DELETED_ALREADY: &str = "-ERR the message is marked as deleted";
pub(super) const GONE: &str = "-ERR the message is not there any more";
pub(super) const DAMAGED: &str = "-ERR [SYS/PERM] the message is damaged; `gatepost mail check` tells more";
pub(super) const NOT_NOW: &str = "-ERR [SYS/TEMP] the message cannot be read now; try again later";
pub(super) const NOT_DELETED: &str = "-ERR [SYS/TEMP] messages could not be deleted; they are still there";
