//! A PC's own web server: the same pages as on the internet.

use smoltcp::iface::SocketHandle;

use super::internet::{Page, WEB_PORT};
use super::stack::Stack;

/// Visitors served at a time; further ones are refused.
const VISITORS_MAX: usize = 8;
/// How long a visitor may be silent.
const VISITOR_TIMEOUT: smoltcp::time::Duration = smoltcp::time::Duration::from_secs(30);

/// The server.
pub struct PageServer {
    visitors: Vec<Visitor>,
}

struct Visitor {
    handle: SocketHandle,
    page: Page,
}

impl PageServer {
    /// A server on `stack`.
    pub fn new(stack: &mut Stack) -> Self {
        let visitor = |_| {
            let handle = stack.add_tcp();
            stack.tcp(handle).set_timeout(Some(VISITOR_TIMEOUT));
            Visitor { handle, page: Page::default() }
        };
        Self { visitors: (0..VISITORS_MAX).map(visitor).collect() }
    }

    /// Serves all connections, and listens for more.
    pub fn work(&mut self, stack: &mut Stack) {
        for Visitor { handle, page } in &mut self.visitors {
            let socket = stack.tcp(*handle);
            if socket.is_open() {
                page.serve(socket);
            } else {
                *page = Page::default();
                socket.listen(WEB_PORT).expect("a closed socket can listen");
            }
        }
    }
}
