//! The model of pinholes: the remotes that they admit, their ends and their limits.

use core::time::Duration;

use super::*;

/// How many there can be here, in all and of one host.
const PINHOLES: [usize; 2] = [6, 3];

/// An operation on pinholes.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    /// One is opened, or goes on as this says.
    Open { protocol: Protocol, client: Endpoint, wan: usize, remote: Option<Ipv4Addr>, secs: u64 },
    /// An inside endpoint wants none any more, at no external address.
    Close { protocol: Protocol, client: Endpoint },
    /// A configuration admits none of a host any more.
    Forbid { host: Ipv4Addr },
}

pub(super) struct ModelPinhole {
    remote: Option<Ipv4Addr>,
    pub(super) until: u64,
}

pub(super) fn asks(
    client: impl Fn() -> BoxedStrategy<Endpoint>,
    remote: impl Strategy<Value = Endpoint> + 'static,
) -> impl Strategy<Value = Ask> {
    let protocol = || prop::sample::select(vec![Protocol::UDP, Protocol::TCP]);
    let remote = prop::option::of(remote.prop_map(|remote| remote.address));
    let secs = prop::sample::select(vec![0, 1, 60, 200, 500, 200_000]);
    prop_oneof![
        6 => (protocol(), client(), any::<usize>(), remote, secs).prop_map(
            |(protocol, client, wan, remote, secs)| Ask::Open { protocol, client, wan, remote, secs }
        ),
        2 => (protocol(), client()).prop_map(|(protocol, client)| Ask::Close { protocol, client }),
        1 => client().prop_map(|client| Ask::Forbid { host: client.address }),
    ]
}

impl Model {
    /// Whether a pinhole lets in what `from` sends to a mapping.
    pub(super) fn is_let_in(&self, mapping: (Protocol, Inside), from: Ipv4Addr) -> bool {
        self.pinholes.get(&mapping).is_some_and(|pinhole| {
            self.now < pinhole.until && pinhole.remote.is_none_or(|remote| remote == from)
        })
    }

    /// Closes pinholes, and ends the mappings that nothing else uses.
    pub(super) fn close_where(&mut self, is_closed: impl Fn(&(Protocol, Inside), &ModelPinhole) -> bool) {
        self.pinholes.retain(|mapping, pinhole| !is_closed(mapping, pinhole));
        self.end(|_, _| false);
    }

    fn has_room(&self, host: Ipv4Addr) -> Result<(), FlowError> {
        let of_host = self.pinholes.keys().filter(|(_, (inside, _))| inside.address == host).count();
        match () {
            () if self.pinholes.len() >= PINHOLES[0] => Err(FlowError::TableFull),
            () if of_host >= PINHOLES[1] => Err(FlowError::HostLimit),
            () => Ok(()),
        }
    }
}

impl Pair {
    /// Has the table take as many pinholes as the model does.
    pub(super) fn limit_pinholes(&mut self) {
        self.table.pinholes.limits = PINHOLES;
    }

    pub(super) fn ask(&mut self, ask: Ask) {
        match ask {
            Ask::Open { protocol, client, wan, remote, secs } => {
                let external = self.model.wans[wan % self.model.wans.len()];
                let pinhole = Pinhole { protocol, inside: client, external, remote };
                let now = Instant::from_secs(self.model.now);
                let opened = self.table.open_pinhole(now, &pinhole, Duration::from_secs(secs));
                let inside = (client, external);
                if let Err(refused) = self.model_may_open(protocol, inside) {
                    assert_eq!(opened, Err(refused));
                    return;
                }
                let until = self.model.now + secs.min(24 * 3600);
                let opened = opened.expect("there is room");
                assert_eq!(opened.until, Instant::from_secs(until));
                assert_eq!(opened.external, self.model_map_to(protocol, inside, opened.external));
                self.model.pinholes.insert((protocol, inside), ModelPinhole { remote, until });
            }
            Ask::Close { protocol, client } => {
                let is_of = |mapping: &(Protocol, Inside)| (mapping.0, mapping.1.0) == (protocol, client);
                let was_open = self.model.pinholes.keys().any(is_of);
                assert_eq!(self.table.close_pinholes_of(protocol, client), was_open);
                self.model.close_where(|mapping, _| is_of(mapping));
            }
            Ask::Forbid { host } => {
                self.table.close_pinholes_where(|mapping| mapping.inside.address == host);
                self.model.close_where(|(_, (inside, _)), _| inside.address == host);
            }
        }
    }

    fn model_may_open(&self, protocol: Protocol, (client, wan): Inside) -> Result<(), FlowError> {
        let [ports, _] = self.model.ports(protocol, wan);
        self.model.port(protocol, (client, wan), ports / 8)?;
        let is_open = self.model.pinholes.contains_key(&(protocol, (client, wan)));
        if is_open { Ok(()) } else { self.model.has_room(client.address) }
    }

    /// That as many are open as the model has, and that the table wants to be called when the next of them ends.
    pub(super) fn compare_pinholes(&self) {
        let (table, pinholes) = (&self.table, &self.model.pinholes);
        assert_eq!(table.pinholes_len(), pinholes.len());
        if let Some(next) = pinholes.values().map(|pinhole| pinhole.until).min() {
            assert!(table.poll_timeout().is_some_and(|due| due <= Instant::from_secs(next)));
        }
    }
}
