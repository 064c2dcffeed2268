//! Whatever is wrong with the mail store, the office has its gateway.

use std::io;

use super::*;

/// A disk on which a file has the place of the mail store's segments.
struct Spoilt(Memory);

impl Storage for Spoilt {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.0.read(name)
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
        self.0.read_at(name, offset, len)
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        self.0.len(name)
    }

    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        if name == "mail/segments" { Err(io::ErrorKind::NotADirectory.into()) } else { self.0.list(name) }
    }

    fn space(&self) -> io::Result<u64> {
        self.0.space()
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.0.write(name, content)
    }

    fn append(&self, name: &str, record: &[u8]) -> io::Result<()> {
        self.0.append(name, record)
    }

    fn rename(&self, name: &str, to: &str) -> io::Result<()> {
        self.0.rename(name, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.0.sync(name)
    }
}

#[test]
fn a_mail_store_that_cannot_be_read_keeps_nothing_else_from_starting() {
    simulate(async {
        let settings = "users = [{ name = 'anna' }]\n";
        let (mut office, services) = Office::on(Arc::new(Spoilt(Memory::new())), settings);
        spawn_local(services.run(|| (), pending()));
        let lease = office.plug_in_host("alice");
        office.pass(Duration::from_secs(20)).await;
        assert!(lease.borrow().is_some(), "DHCP serves");
        let status = office.report(What::Status).await;
        let told = status["service_problems"].as_array().expect("a list");
        let told: Vec<_> = told.iter().map(|problem| problem.as_str().expect("a sentence")).collect();
        let [told] = told[..] else { panic!("{told:?}") };
        let (names, why) = told.split_once(": ").expect("names and a reason");
        assert!(names.split(", ").any(|name| name == "smtp"), "{names}");
        let why_not = why.strip_prefix("no mail is taken: the mail store cannot be read: ");
        assert!(why_not.is_some_and(|error| error.contains("not a directory")), "{why}");
        let report = office.report(What::Services).await;
        let dns =
            report["services"].as_array().expect("a list").iter().find(|service| service["name"] == "dns");
        let dns = dns.expect("the name service");
        assert_eq!(dns["state"], "running");
        assert!(!dns["listens"].as_array().expect("a list").is_empty(), "{dns}");
    });
}
