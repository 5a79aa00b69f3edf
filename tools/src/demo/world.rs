//! A generated day of a chat service: who talks to whom, and what is said.

use super::random::Random;
use tidelog::TimelineId;

/// Most members of a generated group.
const GROUP_MEMBERS_MAX: usize = 500;
/// Shape of the sizes of groups: most are small, a few are large (a Pareto law).
const GROUP_SIZE_EXPONENT: f64 = 0.8;
/// Smallest group.
const GROUP_MEMBERS_MIN: f64 = 3.0;
/// One in so many conversations is a group, the rest are between two users.
const CONVERSATIONS_A_GROUP: usize = 3;
/// Milliseconds of a day.
const DAY_MS: f64 = 86_400_000.0;

const WORDS: &[&str] = &[
    "the", "boat", "is", "late", "again", "see", "you", "at", "noon", "bring", "bread", "and",
    "tea", "who", "has", "keys", "tide", "turns", "in", "an", "hour", "fine", "by", "me", "okay",
    "tomorrow", "maybe", "look", "what", "we", "found", "on", "beach", "今天", "下午", "三点",
    "见", "好的", "naïve", "café", "…", "ha", "never", "mind", "thanks",
];

/// A conversation and those who are in it.
#[derive(Debug, Clone)]
pub(crate) struct Conversation {
    /// Encoded timeline id.
    pub(crate) key: Vec<u8>,
    /// Indices of users, in no order, each once.
    pub(crate) members: Vec<u32>,
}

/// A message before it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// Index of the conversation.
    pub(crate) conversation: usize,
    /// When it is said, in milliseconds since 1970.
    pub(crate) event_ms: i64,
    /// Sender and text.
    pub(crate) payload: Vec<u8>,
}

/// Users and conversations.
#[derive(Debug)]
pub(crate) struct World {
    /// Encoded timeline ids of the users' inboxes.
    pub(crate) inboxes: Vec<Vec<u8>>,
    /// The liveliest first.
    pub(crate) conversations: Vec<Conversation>,
}

impl World {
    /// A world of `users`, at least two, drawn from `random`.
    pub(crate) fn generate(users: u32, random: &mut Random) -> tidelog::Result<World> {
        assert!(users >= 2, "a chat needs two");
        let id = |fields: (&str, u32)| TimelineId::new(fields).map(|id| id.as_bytes().to_vec());
        let inboxes = (0..users).map(|user| id(("user", user))).collect::<Result<_, _>>()?;
        let mut conversations = Vec::new();
        for number in 0..users.saturating_mul(2).min(1_000_000) {
            let is_group = (number as usize).is_multiple_of(CONVERSATIONS_A_GROUP);
            let kind = if is_group { "group" } else { "pair" };
            let size = if is_group { group_size(users, random) } else { 2 };
            let members = draw_members(users, size, random);
            conversations.push(Conversation { key: id((kind, number))?, members });
        }
        Ok(World { inboxes, conversations })
    }

    /// Message `index` of `count` of the day that begins at `day_ms`.
    pub(crate) fn message(
        &self,
        index: u64,
        count: u64,
        day_ms: i64,
        random: &mut Random,
    ) -> Message {
        // A few conversations are lively, most are not: the square of a uniform number.
        let conversation = scaled(random.unit().powi(2), self.conversations.len());
        let members = &self.conversations[conversation].members;
        let sender = members[random.index(members.len())];
        let mut text = format!("user {sender}\t#{index}");
        for _ in 0..1 + scaled(random.unit().powi(3), 40) {
            text.push(' ');
            text.push_str(WORDS[random.index(WORDS.len())]);
        }
        Message {
            conversation,
            event_ms: day_ms + time_of_day_ms(index, count),
            payload: text.into_bytes(),
        }
    }
}

/// Moments get rarer towards the night; they never run backwards.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a share of one day, in whole milliseconds"
)]
fn time_of_day_ms(index: u64, count: u64) -> i64 {
    let share = index as f64 / count.max(1) as f64;
    let bent = share + 0.12 * (share * std::f64::consts::TAU).sin();
    (bent * DAY_MS) as i64
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index below a count, drawn from a share in 0..1"
)]
fn scaled(share: f64, count: usize) -> usize {
    ((share * count as f64) as usize).min(count - 1)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounded by the largest group"
)]
fn group_size(users: u32, random: &mut Random) -> usize {
    let size = GROUP_MEMBERS_MIN * (1.0 - random.unit()).powf(-GROUP_SIZE_EXPONENT);
    (size.min(GROUP_MEMBERS_MAX as f64) as usize).min(users as usize)
}

/// `size` different users: Floyd's way, which needs no shuffled copy of all of them.
fn draw_members(users: u32, size: usize, random: &mut Random) -> Vec<u32> {
    let size = u32::try_from(size).expect("groups are small").min(users);
    let mut drawn = std::collections::BTreeSet::new();
    for bound in users - size..users {
        let user = u32::try_from(random.below(u64::from(bound) + 1)).expect("below the users");
        if !drawn.insert(user) {
            drawn.insert(bound);
        }
    }
    drawn.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_is_one_world() {
        let day = |seed| {
            let mut random = Random::new(seed);
            let world = World::generate(50, &mut random).unwrap();
            (0..100).map(|index| world.message(index, 100, 0, &mut random)).collect::<Vec<_>>()
        };
        assert_eq!(day(1), day(1));
        assert_ne!(day(1), day(2));
    }

    #[test]
    fn members_are_different_users_and_time_never_runs_backwards() {
        let mut random = Random::new(3);
        for users in [2, 3, 40] {
            let world = World::generate(users, &mut random).unwrap();
            for conversation in &world.conversations {
                let members = &conversation.members;
                assert!(members.len() >= 2 && members.iter().all(|member| *member < users));
                assert!(members.windows(2).all(|pair| pair[0] < pair[1]));
            }
        }
        let times: Vec<i64> = (0..1000).map(|index| time_of_day_ms(index, 1000)).collect();
        assert!(times.is_sorted() && times[999] < 86_400_000);
    }
}
