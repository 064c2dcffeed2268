//! How browsers reach the administration, also while a change of that waits for its confirmation.

use gatepost_ground::wire::Protocol;
use gatepost_services::admin;

use super::Config;
use super::services::{FormerReach, KINDS};

impl Config {
    /// The names by which browsers may call the administration, in lower case, the one to use first.
    pub fn admin_names(&self) -> Vec<String> {
        let (hostname, domain) = (self.system.hostname.to_lowercase(), self.system.domain.to_lowercase());
        vec![format!("admin.{domain}"), format!("{hostname}.{domain}"), hostname]
    }

    /// The same configuration while it waits for its confirmation, on a gateway that had `former` before: the
    /// administration is served at the port and by the names of `former`, too, so that a browser that is there can
    /// confirm. A name of a former domain is in no DNS; it is of use while a browser remembers its address.
    #[must_use]
    pub fn reached_as_well_as(mut self, former: &Self) -> Self {
        let port = former.services.admin.port;
        let mut others = KINDS.iter().filter(|kind| kind.name != admin::KIND.name);
        let is_taken = others.any(|kind| {
            self.services.is_enabled(kind.name)
                && self.services.ports_of(kind).contains(&(Protocol::TCP, port))
        });
        let names = self.admin_names();
        self.services.admin.former = FormerReach {
            port: (former.services.admin.enabled && port != self.services.admin.port && !is_taken)
                .then_some(port),
            names: former.admin_names().into_iter().filter(|name| !names.contains(name)).collect(),
        };
        self
    }

    /// The address and the port at which the administration is once the change that waits is confirmed; `None` if none
    /// waits, or the browsers' way to it stays as it is.
    pub fn admin_moves_to(&self) -> Option<String> {
        let admin = &self.services.admin;
        let moves = self.lan.former_address.is_some() || admin.former != FormerReach::default();
        let is_served = self.is_unconfirmed && admin.enabled;
        (is_served && moves).then(|| format!("{}:{}", self.lan.address.addr(), admin.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(former: &str, new: &str) -> Config {
        let config = |text: &str| Config::parse("test", text).expect("a valid configuration");
        let former = config(former);
        config(new).until_confirmed(former.lan.address).reached_as_well_as(&former)
    }

    #[test]
    fn whoever_is_at_the_former_place_can_confirm() {
        let port = moved("", "admin.port = 8443");
        assert_eq!(port.services.ports_of(&admin::KIND), [(Protocol::TCP, 8443), (Protocol::TCP, 8080)]);
        assert_eq!(port.admin_moves_to().as_deref(), Some("192.168.1.1:8443"));
        let name = moved("", "system.domain = 'b.example'");
        assert_eq!(name.services.admin.former.names, ["admin.office.example", "gatepost.office.example"]);
        assert_eq!(name.admin_moves_to().as_deref(), Some("192.168.1.1:8080"));
        let address = moved("", "lan.address = '10.0.0.1/24'");
        assert_eq!(address.admin_moves_to().as_deref(), Some("10.0.0.1:8080"));
    }

    #[test]
    fn what_moves_nothing_is_no_other_place() {
        assert_eq!(moved("", "ntp.enabled = false").admin_moves_to(), None);
        assert_eq!(moved("", "admin.enabled = false\nlan.address = '10.0.0.1/24'").admin_moves_to(), None);
        assert_eq!(Config::default().admin_moves_to(), None);
        let taken = moved(
            "",
            "admin.port = 8443\nmail.enabled = true\nmail.ports.lmtp = 8080\n[[users]]\nname = 'a'",
        );
        assert_eq!(taken.services.ports_of(&admin::KIND), [(Protocol::TCP, 8443)]);
        let moved_from_none = moved("admin.enabled = false", "admin.port = 8443");
        assert_eq!(moved_from_none.services.admin.former.port, None);
    }
}
