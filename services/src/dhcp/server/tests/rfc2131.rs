//! What RFC 2131 and the relay agents' RFCs demand of every answer, and a client's way through its states.

use super::*;

/// Requests of a client that has the first address: for an OFFER, four ACKs and a NAK.
fn answered() -> [Message; 6] {
    let mut inform = ask(MessageType::Inform, pc(1));
    inform.set_ciaddr(host(2));
    [
        discover(pc(1)),
        select(pc(1), host(2)),
        reboot(pc(1), host(2)),
        renew(pc(1), host(2)),
        inform,
        reboot(pc(1), Ipv4Addr::new(10, 0, 0, 1)),
    ]
}

fn leased() -> Office {
    let mut office = Office::new(config());
    office.lease(pc(1));
    office
}

fn codes(message: &Message) -> Vec<u8> {
    message.opts().iter().map(|(code, _)| u8::from(*code)).collect()
}

/// RFC 2131, section 4.3.1: Every answer repeats what identifies the request: xid, flags, giaddr, chaddr.
#[test]
fn rfc2131_4_3_1_every_answer_repeats_what_identifies_the_request() {
    let mut office = leased();
    for (xid, mut request) in (1..).zip(answered()) {
        request.set_xid(xid).set_hops(1).set_secs(7).set_giaddr(RELAY);
        request.set_flags(Flags::default().set_broadcast());
        let reply = office.hear(&request).expect("an answer").message;
        assert_eq!((reply.opcode(), reply.xid()), (Opcode::BootReply, xid));
        assert_eq!((reply.flags(), reply.giaddr()), (request.flags(), RELAY));
        assert_eq!((reply.htype(), reply.chaddr()), (request.htype(), request.chaddr()));
        assert_eq!((reply.hops(), reply.secs()), (0, 0));
    }
}

/// RFC 2131, section 4.3.1: No answer has the options of requests, and a NAK has no parameters.
#[test]
fn rfc2131_4_3_1_no_answer_has_the_options_of_requests() {
    let mut office = leased();
    let requested = [1, 3, 50, 51, 55, 57, 61].map(OptionCode::from).to_vec();
    for request in answered() {
        let request = with(request, DhcpOption::ParameterRequestList(requested.clone()));
        let request = with(request, DhcpOption::MaxMessageSize(600));
        let reply = office.hear(&request).expect("an answer").message;
        let codes = codes(&reply);
        assert!(![50, 55, 57, 61].iter().any(|code| codes.contains(code)), "{codes:?}");
        match reply.opts().msg_type() {
            Some(MessageType::Nak) => assert_eq!(codes, [53, 54, 56]),
            _ => assert!(codes.starts_with(&[1, 3]), "{codes:?}"),
        }
    }
}

/// RFC 2131, section 4.3.2 (SELECTING): The ACK repeats the offer, and the offer to another client is refused.
#[test]
fn rfc2131_4_3_2_the_ack_of_an_offer_says_what_the_offer_has_said() {
    let mut office = Office::new(config());
    let offer = office.hear(&discover(pc(1))).expect("an offer").message;
    assert_eq!(office.offer(&discover(pc(2))), Some(host(3)));
    office.nak(&select(pc(1), host(3)));
    let mut ack = office.ack(&select(pc(1), offer.yiaddr())).message;
    ack.opts_mut().insert(DhcpOption::MessageType(MessageType::Offer));
    assert_eq!(ack, offer);
}

/// RFC 3046, section 2.1: The relay agent's information is the last option of every answer.
/// RFC 3046, section 2.2: The relay agent's option is returned as it came.
#[test]
fn rfc3046_2_1_the_relay_agents_information_is_the_last_option_of_every_answer() {
    let mut office = leased();
    for mut request in answered() {
        request.set_giaddr(RELAY);
        let relay = message::raw(OptionCode::RelayAgentInformation, vec![2, 2, 9, 9, 1, 1, 3]);
        let reply = office.hear(&with(request, relay)).expect("an answer");
        let octets = reply.layout.encode(&reply.message);
        let end = octets.iter().rposition(|octet| *octet == 255).expect("an end");
        assert!(octets[..end].ends_with(&[82, 7, 2, 2, 9, 9, 1, 1, 3]), "{octets:?}");
    }
}
