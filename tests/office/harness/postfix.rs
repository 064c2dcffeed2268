//! Postfix, as a remote mail server.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::programs::wait_for_listener_at;
use super::{Background, Directory, Namespace};

/// Postfix at an address of a namespace, with mailboxes of one domain. It is a directory of its own: nothing of the
/// machine's own Postfix is used, and no process of it is in another root.
#[derive(Debug)]
pub struct Postfix {
    _process: Background,
    directory: Directory,
}

/// One process of smtpd serves one connection, so that each connection sees the tables as they are then.
const SETTINGS: &str = "compatibility_level = 3.6
queue_directory = {0}/queue
data_directory = {0}/data
mail_owner = postfix
setgid_group = postdrop
maillog_file = {0}/log
maillog_file_prefixes = {0}
mydestination =
inet_protocols = ipv4
mynetworks =
max_use = 1
virtual_mailbox_base = {0}/mail
virtual_minimum_uid = 1
virtual_uid_maps = static:8
virtual_gid_maps = static:8
virtual_transport = virtual
smtpd_recipient_restrictions = check_recipient_access texthash:{0}/refused, reject_unauth_destination
";

impl Postfix {
    /// The port of SMTP.
    pub const PORT: u16 = 25;

    /// Starts it at `address` for the mailboxes `users` of `domain`. Lines of `settings`, in which `{0}` is its
    /// directory, are added to main.cf.
    pub fn start(
        namespace: &Namespace,
        address: Ipv4Addr,
        domain: &str,
        users: &[&str],
        settings: &str,
    ) -> Self {
        let directory = Directory::new();
        let here = directory.path().display().to_string();
        namespace.sh(&format!(
            "cd {here}; mkdir queue data mail etc; chown postfix data; chown 8:8 mail; touch refused"
        ));
        let mailboxes: Vec<_> = users.iter().map(|user| format!("{user}@{domain}={user}/")).collect();
        let own = format!(
            "myhostname = mx.{domain}\ninet_interfaces = {address}\nvirtual_mailbox_domains = {domain}\n\
             virtual_mailbox_maps = inline:{{{}}}\n",
            mailboxes.join(", ")
        );
        let main = format!("{SETTINGS}{own}{settings}\n").replace("{0}", &here);
        fs::write(directory.join("etc/main.cf"), main).expect("it can be written");
        let master = fs::read_to_string("/usr/share/postfix/master.cf.dist").expect("Postfix is installed");
        fs::write(directory.join("etc/master.cf"), without_roots(&master)).expect("it can be written");
        // It makes the folders of the queue.
        namespace.sh(&format!("postfix -c {here}/etc check"));
        let process = namespace.spawn(&format!("postfix -c {here}/etc start-fg"));
        wait_for_listener_at(namespace, address, Self::PORT);
        Self { _process: process, directory }
    }

    /// Has it answer RCPT for these addresses so, each a line `ADDRESS REPLY`.
    pub fn refuse(&self, lines: &str) {
        // At once: smtpd may read it at any time.
        let new = self.directory.join("refused.new");
        fs::write(&new, lines).expect("it can be written");
        fs::rename(new, self.directory.join("refused")).expect("it can be renamed");
    }

    /// The content of the mailbox of `user`.
    pub fn mailbox(&self, user: &str) -> Vec<String> {
        let folder = fs::read_dir(self.directory.join(&format!("mail/{user}/new")));
        let mut files: Vec<PathBuf> =
            folder.into_iter().flatten().flatten().map(|file| file.path()).collect();
        files.sort();
        files.iter().map(|file| fs::read_to_string(file).expect("a message")).collect()
    }

    /// Its log.
    pub fn log(&self) -> String {
        self.directory.read("log")
    }
}

/// The services of `master`, none of which has a root directory of its own: the tables are elsewhere.
fn without_roots(master: &str) -> String {
    let line = |line: &str| {
        let mut fields: Vec<_> = line.split_whitespace().collect();
        match fields.get_mut(4) {
            Some(root) if !line.starts_with([' ', '\t', '#']) => {
                *root = "n";
                fields.join(" ")
            }
            _ => line.to_owned(),
        }
    };
    master.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
}
