//! The move of the gateway to another address on the LAN, by its pages.

use ipnet::Ipv4Net;
use rand::RngExt;
use rand::seq::IndexedRandom;

use super::sight::Aim;
use super::{Browser, CHANGES, NETWORK, Step, body_of, own_origin};

/// A move of the LAN to the place of this number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moving {
    to: usize,
    from: usize,
    stage: Stage,
}

/// How far a move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The form is sent.
    Saving,
    /// The change is asked for.
    Applying,
    /// The gateway is looked for at its new address.
    Finding,
    /// The change is made final, or undone.
    Ending,
}

impl Browser {
    /// Sometimes, where the page has the LAN's address in a form: another one.
    pub(super) fn move_lan(&mut self, cookie: &str) -> Option<Step> {
        if !self.moves || self.may_only_look() || self.rng.random_ratio(1, 3) {
            return None;
        }
        let mut form = self.page.forms().into_iter().find(|form| form.action == NETWORK)?;
        let others: Vec<_> = (0..self.places.len()).filter(|place| *place != self.place).collect();
        let to = *others.choose(&mut self.rng)?;
        let lan = self.lan_at(to).to_string();
        form.fields.iter_mut().find(|(name, _)| name == "lan.address")?.1 = lan;
        self.moving = Some(Moving { to, from: self.place, stage: Stage::Saving });
        Some(self.change(NETWORK, &form.fields, Aim::Changes, cookie))
    }

    /// The next step of the move under way.
    pub(super) fn go_on_moving(&mut self, cookie: &str) -> Option<Step> {
        let moving = self.moving.as_mut()?;
        let form = self.page.forms().into_iter().find(|form| form.action == CHANGES)?;
        let mut fields: Vec<_> = form.fields.into_iter().filter(|(name, _)| name == "token").collect();
        let (what, aim) = if moving.stage == Stage::Saving && self.page.has_button("do", "apply") {
            moving.stage = Stage::Applying;
            ("apply", Aim::Changes)
        } else if moving.stage == Stage::Finding && self.page.has_button("do", "keep") {
            let to = moving.to;
            match self.rng.random_range(0..4) {
                // It is left to its deadline.
                0 => {
                    self.place = moving.from;
                    self.moving = None;
                    self.record.left += 1;
                    return None;
                }
                1 => {
                    moving.stage = Stage::Ending;
                    self.record.left += 1;
                    ("undo", Aim::Changes)
                }
                _ => {
                    moving.stage = Stage::Ending;
                    ("keep", Aim::Keeps(self.lan_at(to)))
                }
            }
        } else {
            self.moving = None;
            return None;
        };
        fields.push(("do".to_owned(), what.to_owned()));
        Some(self.change(CHANGES, &fields, aim, cookie))
    }

    fn change(&self, path: &str, fields: &[(String, String)], aim: Aim, cookie: &str) -> Step {
        let form = Some((body_of(fields), own_origin()));
        Step { path: path.to_owned(), cookie: Some(cookie.to_owned()), aim, form, is_own: true }
    }

    /// The gateway's address at the place of that number.
    fn lan_at(&self, place: usize) -> Ipv4Net {
        let (gateway, own) = self.places[place];
        Ipv4Net::new(gateway, own.prefix_len()).expect("a prefix")
    }

    /// What was asked for in the move under way is answered.
    pub(super) fn end_stage(&mut self, aim: Aim, status: u16) {
        let Some(moving) = self.moving.as_mut().filter(|_| matches!(aim, Aim::Changes | Aim::Keeps(_)))
        else {
            return;
        };
        match moving.stage {
            _ if status != 303 => self.moving = None,
            Stage::Applying => {
                moving.stage = Stage::Finding;
                self.place = moving.to;
            }
            Stage::Ending => {
                if aim == Aim::Changes {
                    self.place = moving.from;
                } else {
                    self.record.kept += 1;
                }
                self.moving = None;
            }
            Stage::Saving | Stage::Finding => {}
        }
    }
}
