//! The chat server, which echoes every octet.

use gatepost_ground::Instant;
use smoltcp::socket::tcp;

use super::server::{Server, Wire};

/// The server.
pub(super) struct ChatServer;

impl Server for ChatServer {
    fn poll(&mut self, _now: Instant, wire: &mut Wire<'_>) {
        wire.each_connection(|connection| serve(connection.socket));
    }
}

fn serve(socket: &mut tcp::Socket<'_>) {
    let mut line = [0; 64];
    while socket.can_recv() && socket.send_capacity() - socket.send_queue() >= line.len() {
        let Ok(len) = socket.recv_slice(&mut line) else { return };
        if socket.send_slice(&line[..len]) != Ok(len) {
            return;
        }
    }
    if socket.state() == tcp::State::CloseWait {
        socket.close();
    }
}
