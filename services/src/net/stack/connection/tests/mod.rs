//! Connections by themselves: transcripts with explicit times, and random conversations over a pipe that loses,
//! repeats and reorders.

mod hostile;
mod pipe;
mod second_opinion;
mod transcripts;

use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use gatepost_ground::Instant;
use smoltcp::wire::TcpControl;

use super::output::Outgoing;
use super::*;

/// A waker without a task: a test polls the connection after every step.
struct Nobody;

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

fn with_context<R>(act: impl FnOnce(&Context<'_>) -> R) -> R {
    act(&Context::from_waker(&Waker::from(Arc::new(Nobody))))
}

const SETTINGS: Settings =
    Settings { segment_size: 1000, buffer_len_max: 1 << 20, keep_alive: Duration::from_secs(7200) };

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn beginning(sequence: u32) -> Beginning {
    Beginning { sequence, timestamp_offset: 77 }
}

impl Connection {
    fn write_now(&mut self, octets: &[u8]) -> usize {
        with_context(|context| self.write(octets, context)).expect("it is open")
    }

    fn read_now(&mut self, now: Instant, into: &mut [u8]) -> Read {
        with_context(|context| self.read(now, into, context))
    }

    /// All that it sends at `now`.
    fn sent(&mut self, now: Instant) -> Vec<Outgoing> {
        std::iter::from_fn(|| self.poll(now)).take(1000).collect()
    }
}

impl Outgoing {
    /// What a peer receives.
    fn fields(&self) -> Fields<'_> {
        let header = &self.header;
        Fields {
            sequence: header.seq_number.0 as u32,
            acknowledgement: header.ack_number.map(|number| number.0 as u32),
            is_syn: header.control == TcpControl::Syn,
            is_fin: header.control == TcpControl::Fin,
            is_reset: header.control == TcpControl::Rst,
            window: header.window_len,
            options: Options {
                segment_size: header.max_seg_size,
                window_shift: header.window_scale,
                is_sack_permitted: header.sack_permitted,
                blocks: header.sack_ranges,
                timestamps: header.timestamp.map(|stamp| (stamp.tsval, stamp.tsecr)),
            },
            payload: &self.payload,
        }
    }
}
