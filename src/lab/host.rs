//! The process of one host: does what the lab asks, one request after the other, until its input ends.

use std::io::{self, BufRead};
use std::rc::Rc;
use std::thread;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::internet::Internet;
use super::member::respond;
use super::pc::Pc;
use super::protocol::{Request, Response, Role};
use super::sandbox;
use crate::error::Error;
use crate::port::netdevice::NetDevice;

/// Lives as the host `name` until the lab ends. Must be called while the process has one thread.
///
/// # Errors
///
/// `role` is not what the lab writes, or the system forbids the namespaces.
pub fn run(name: &str, role: &str) -> Result<(), Error> {
    let broken = |why: io::Error| Error::failed("a host of the lab failed", why, "start the lab again");
    let role = serde_json::from_str(role)
        .map_err(|e| Error::usage(format!("the lab starts its hosts itself: {e}; use `gatepost lab`")))?;
    // Also when the lab is killed and its pipe is still open somewhere.
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|e| broken(e.into()))?;
    sandbox::become_host(name)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(broken)?;
    LocalSet::new().block_on(&runtime, live(name.into(), role)).map_err(broken)
}

async fn live(name: Rc<str>, role: Role) -> io::Result<()> {
    NetDevice::new("lo")?.set_up()?;
    let mut host = Host::new(name, role)?;
    let mut requests = requests();
    respond(&Response::Ready)?;
    while let Some(request) = requests.recv().await {
        let response = host.handle(request).await.unwrap_or_else(|e| Response::Failed(e.to_string()));
        respond(&response)?;
    }
    Ok(())
}

/// Reads requests on a thread of its own, as standard input knows no readiness.
fn requests() -> mpsc::Receiver<Request> {
    let (sender, receiver) = mpsc::channel(1);
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let request = line.ok().and_then(|line| serde_json::from_str(&line).ok());
            let Some(request) = request else { break };
            if sender.blocking_send(request).is_err() {
                break;
            }
        }
    });
    receiver
}

/// A host of either kind.
enum Host {
    Pc(Box<Pc>),
    Internet(Box<Internet>),
}

impl Host {
    fn new(name: Rc<str>, role: Role) -> io::Result<Self> {
        Ok(match role {
            Role::Pc => Self::Pc(Box::new(Pc::new(name)?)),
            Role::Internet(provider) => Self::Internet(Box::new(Internet::new(provider))),
        })
    }

    async fn handle(&mut self, request: Request) -> io::Result<Response> {
        match self {
            Self::Pc(pc) => pc.handle(request).await,
            Self::Internet(internet) => internet.handle(request).await,
        }
    }
}
