//! Passwords and passphrases from a terminal or a line of stdin.

use std::io::{self, BufRead};

use gatepost_services::users::password::OCTETS_MAX;

use crate::error::Error;

/// The first line of `input`, without its end. `what` is told of an error: what is not done without the line.
///
/// # Errors
///
/// There is none, or it is no text.
pub fn read_secret_line(input: impl BufRead, what: &str) -> Result<String, Error> {
    let mut octets = Vec::new();
    // A line longer than any password is not read to its end.
    let limit = OCTETS_MAX as u64 + 2;
    let read = input.take(limit).read_until(b'\n', &mut octets);
    read.map_err(|error| Error::failed(what, error, "try again"))?;
    if octets.is_empty() {
        return Err(Error::failed(what, "nothing came by stdin", "write it there, as one line"));
    }
    let line = octets.strip_suffix(b"\n").unwrap_or(&octets);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    String::from_utf8(line.to_vec()).map_err(|_| Error::failed(what, "it is not UTF-8 text", "take another"))
}

/// Asks on the terminal with `prompt`; for a new secret (`is_new`) twice. `what` is told of an error.
///
/// # Errors
///
/// There is no terminal, or the two differ.
pub fn ask_secret(prompt: &str, what: &str, is_new: bool) -> Result<String, Error> {
    let ask = |prompt: &str| {
        rpassword::prompt_password(format!("{prompt}: ")).map_err(|error: io::Error| {
            let why = format!("there is no terminal to ask on: {error}");
            Error::failed(what, why, "write --stdin to give it as a line of stdin")
        })
    };
    let first = ask(prompt)?;
    if is_new && ask("The same again")? != first {
        return Err(Error::failed(what, "the two differ", "try again"));
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_the_secret() {
        let read = |input: &[u8]| read_secret_line(input, "nothing is done");
        for (input, line) in [
            (&b"blue harbour 47\n"[..], "blue harbour 47"),
            (b" blue \r\nnext\n", " blue "),
            (b"blue", "blue"),
            (b"\n", ""),
        ] {
            assert_eq!(read(input).as_deref(), Ok(line));
        }
        let told = |input: &[u8]| read(input).expect_err("no line").to_string();
        assert!(told(b"").starts_with("nothing is done: nothing came by stdin; "));
        assert!(told(b"\xff\n").contains("not UTF-8"));
        let long = read(&[b'x'; 10_000]).expect("a line");
        assert!(long.len() > OCTETS_MAX, "it is refused as too long");
    }
}
