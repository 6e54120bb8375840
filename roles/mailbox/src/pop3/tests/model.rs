//! Random sessions against what a list of messages would do.

use super::{Client, Home};

/// What the client may expect: the messages of its login, and which it has marked.
struct Model {
    messages: Vec<(u32, bool)>,
}

impl Model {
    fn left(&self) -> impl Iterator<Item = (usize, u32)> {
        self.messages
            .iter()
            .enumerate()
            .filter(|(_, message)| !message.1)
            .map(|(index, message)| (index + 1, message.0))
    }
}

/// A message that tells its UID, and its size.
fn text(uid: u32) -> (String, usize) {
    let text = format!("Subject: {uid}\r\n\r\n{}", ".line\r\n".repeat(uid as usize % 7));
    let size = text.len();
    (text, size)
}

async fn receive(home: &Home, next_uid: &mut u32) {
    home.receive(text(*next_uid).0).await;
    *next_uid += 1;
}

/// One random command, and whether it was answered as the model says.
async fn command(client: &mut Client, model: &mut Model, gone: &[u32], random: &mut fastrand::Rng) {
    let number = random.usize(1..=model.messages.len() + 1);
    let message = model.messages.get(number - 1).copied();
    match random.u32(0..7) {
        0 => {
            let sizes: Vec<usize> = model.left().map(|(_, uid)| text(uid).1).collect();
            assert_eq!(client.say("STAT").await, format!("+OK {} {}", sizes.len(), sizes.iter().sum::<usize>()));
        }
        1 => {
            let expected: Vec<_> = model.left().map(|(number, uid)| format!("{number} {}", text(uid).1)).collect();
            assert_eq!(client.lines("LIST").await, expected);
        }
        2 => {
            let numbers: Vec<_> =
                model.left().map(|(number, uid)| (number.to_string(), format!("{uid:08x}"))).collect();
            let listed = client.lines("UIDL").await;
            assert_eq!(listed.len(), numbers.len());
            for (line, (number, uid)) in listed.iter().zip(numbers) {
                let (listed_number, id) = line.split_once(' ').unwrap();
                assert!(listed_number == number && id.ends_with(&uid), "{line}");
            }
        }
        3 => {
            assert_eq!(client.say("RSET").await, "+OK");
            model.messages.iter_mut().for_each(|message| message.1 = false);
        }
        4 => {
            let answer = client.say(&format!("DELE {number}")).await;
            assert_eq!(answer.starts_with("+OK"), matches!(message, Some((_, false))), "{answer}");
            if let Some(message) = model.messages.get_mut(number - 1) {
                message.1 = true;
            }
        }
        5 => match message {
            Some((uid, false)) if !gone.contains(&uid) => {
                let lines = client.lines(&format!("RETR {number}")).await;
                let sent: usize = lines.iter().map(|line| line.len() + 2 - usize::from(line.starts_with('.'))).sum();
                assert_eq!((lines[0].as_str(), sent), (format!("Subject: {uid}").as_str(), text(uid).1));
            }
            _ => assert!(client.say(&format!("RETR {number}")).await.starts_with("-ERR")),
        },
        _ => match message {
            Some((uid, false)) if !gone.contains(&uid) => {
                let count = random.usize(0..9);
                let lines = client.lines(&format!("TOP {number} {count}")).await;
                assert_eq!(lines.len(), 2 + count.min(uid as usize % 7));
            }
            _ => assert!(client.say(&format!("TOP {number} 1")).await.starts_with("-ERR")),
        },
    }
}

#[tokio::test]
async fn random_sessions_do_what_a_list_would_do() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let home = Home::new().await;
    let mut next_uid = 1;
    for _ in 0..40 {
        for _ in 0..random.u32(0..4) {
            receive(&home, &mut next_uid).await;
        }
        let before = home.uids().await;
        let mut model = Model { messages: before.iter().map(|uid| (*uid, false)).collect() };
        let mut client = home.log_in().await;
        let mut gone = Vec::new();
        for _ in 0..random.u32(0..30) {
            // Others come and go meanwhile.
            match random.u32(0..12) {
                0 => receive(&home, &mut next_uid).await,
                1 if !before.is_empty() => {
                    let uid = before[random.usize(0..before.len())];
                    home.remove(uid).await;
                    gone.push(uid);
                }
                _ => command(&mut client, &mut model, &gone, &mut random).await,
            }
        }
        let mut expected = home.uids().await;
        if random.bool() {
            assert_eq!(client.quit().await, "+OK Goodbye\r\n");
            expected.retain(|uid| !model.messages.contains(&(*uid, true)));
        } else {
            client.hang_up().await;
        }
        assert_eq!(home.uids().await, expected);
    }
}
