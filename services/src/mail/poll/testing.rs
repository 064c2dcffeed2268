//! A POP3 server in memory, whose connections break and whose replies are lost.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::sleep;

/// The server of an account, over all connections.
#[derive(Default)]
pub struct Server {
    /// Names and texts.
    pub messages: Vec<(String, String)>,
    pub has_no_uidl: bool,
    pub has_no_top: bool,
    /// It does not take the password, and says this.
    pub refuses_login: Option<&'static str>,
    /// The connection breaks in the midst of this message.
    pub breaks_in: Option<&'static str>,
    /// It serves this message to no client.
    pub refuses: Option<&'static str>,
    /// QUIT is answered, and deletes nothing.
    pub forgets_deletions: bool,
    /// The connection breaks at QUIT, behind which it has deleted, or not.
    pub loses_quit: Option<bool>,
    /// Sizes that it lists, if they are not true.
    pub listed_size: Option<u64>,
    pub commands: Vec<String>,
    /// What it takes for each command.
    pub delay: Duration,
    /// Connections that there are, and the most that there were at a time.
    pub together: usize,
    pub together_max: usize,
}

/// Serves a connection.
pub async fn serve(server: Rc<RefCell<Server>>, stream: impl AsyncRead + AsyncWrite) {
    {
        let mut server = server.borrow_mut();
        server.together += 1;
        server.together_max = server.together_max.max(server.together);
    }
    converse(&server, stream).await;
    server.borrow_mut().together -= 1;
}

async fn converse(server: &RefCell<Server>, stream: impl AsyncRead + AsyncWrite) {
    let (read, mut write) = tokio::io::split(stream);
    let mut lines = BufReader::new(read).lines();
    _ = write.write_all(b"+OK ready\r\n").await;
    let messages = server.borrow().messages.clone();
    let mut deleted = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        server.borrow_mut().commands.push(line.clone());
        let delay = server.borrow().delay;
        sleep(delay).await;
        let (word, argument) = line.split_once(' ').unwrap_or((&line, ""));
        let at = argument.split(' ').next().and_then(|number| number.parse::<usize>().ok());
        let message = at.and_then(|number| messages.get(number - 1));
        let listed = |value: &dyn Fn(&(String, String)) -> String| {
            let of_each =
                (1..).zip(&messages).map(|(number, message)| format!("{number} {}\r\n", value(message)));
            format!("+OK\r\n{}.\r\n", of_each.collect::<String>())
        };
        let size = server.borrow().listed_size;
        let is = |of: Option<&str>| message.is_some_and(|(uidl, _)| of == Some(uidl.as_str()));
        let reply = match word {
            "CAPA" => "-ERR\r\n".to_owned(),
            "PASS" if server.borrow().refuses_login.is_some() => {
                format!("-ERR {}\r\n", server.borrow().refuses_login.unwrap_or_default())
            }
            "LIST" => listed(&|(_, text)| size.unwrap_or(text.len() as u64).to_string()),
            "UIDL" if server.borrow().has_no_uidl => "-ERR\r\n".to_owned(),
            "UIDL" => listed(&|(uidl, _)| uidl.clone()),
            "RETR" if is(server.borrow().refuses) => "-ERR it is damaged\r\n".to_owned(),
            "RETR" => {
                let text = &message.unwrap().1;
                let stuffed = text.replace("\r\n.", "\r\n..");
                if is(server.borrow().breaks_in) {
                    _ = write.write_all(format!("+OK\r\n{}", &stuffed[..stuffed.len() / 2]).as_bytes()).await;
                    return;
                }
                format!("+OK\r\n{stuffed}.\r\n")
            }
            "TOP" if server.borrow().has_no_top => "-ERR\r\n".to_owned(),
            "TOP" => {
                let text = &message.unwrap().1;
                let header = text.split_once("\r\n\r\n").map_or(&**text, |(header, _)| header);
                format!("+OK\r\n{header}\r\n\r\n.\r\n")
            }
            "DELE" => {
                deleted.push(message.unwrap().0.clone());
                "+OK\r\n".to_owned()
            }
            "QUIT" => {
                let mut server = server.borrow_mut();
                let (forgets, loses) = (server.forgets_deletions, server.loses_quit);
                if !forgets && loses != Some(false) {
                    server.messages.retain(|(uidl, _)| !deleted.contains(uidl));
                }
                if loses.is_some() {
                    return;
                }
                "+OK\r\n".to_owned()
            }
            _ => "+OK\r\n".to_owned(),
        };
        _ = write.write_all(reply.as_bytes()).await;
        if word == "QUIT" {
            return;
        }
    }
}

/// A message with its name, of a header whose lines are parted by `|`.
pub fn message(number: usize, header: &str) -> (String, String) {
    (
        format!("m{number}"),
        format!("{}\r\nSubject: {number}\r\n\r\n.dot {number}\r\n", header.replace('|', "\r\n")),
    )
}
