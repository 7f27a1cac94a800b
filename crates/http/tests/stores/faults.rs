//! A full disk and a disk that fails.

use annals_journal::Files;
use serde_json::json;

use crate::harness::{PATIENCE, World};

const EVENTS: &str = "/stores/shop/streams/a-1/events";

#[tokio::test]
async fn a_full_disk_refuses_appends_and_nothing_else_until_there_is_space() {
    let world = World::with_store().await;
    world.append("a-1", &json!({"type": "A"})).await;
    world.files.set_capacity(Some(32 << 20));
    let event = json!({"type": "A", "data": "x".repeat(1_000_000)});
    let refused = async {
        loop {
            let answer = world.post(EVENTS, &event).await;
            if answer.status != 201 {
                return answer;
            }
        }
    };
    let answer = tokio::time::timeout(PATIENCE, refused).await.unwrap();
    assert_eq!(answer.problem(), (503, "disk-full".into()));
    assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
    assert_eq!(world.get(EVENTS).await.status, 200);

    world.files.set_capacity(None);
    let accepted = async {
        while world.post(EVENTS, &json!({"type": "B"})).await.status != 201 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, accepted).await.unwrap();
}

#[tokio::test]
async fn a_key_that_is_still_on_a_full_disk_is_told_and_goes_when_there_is_space() {
    const PLENTY: u64 = 1 << 30;
    let world = World::with_store().await;
    world.append("a-1", &json!({"type": "A", "data": 1, "encrypt_for": "person-1"})).await;
    for _ in 0..3 {
        world.append("a-1", &json!({"type": "A", "data": "x".repeat(1_000_000)})).await;
    }
    world.files.wait_for_spare();
    world.files.set_capacity(Some(PLENTY));
    let used = PLENTY - world.files.free_bytes().unwrap();
    world.files.set_capacity(Some(used + (100 << 10)));
    let shred = async || world.post("/stores/shop/shred", &json!({"subject": "person-1"})).await;
    for _ in 0..2 {
        let answer = shred().await;
        assert_eq!(answer.problem(), (503, "key-on-disk".into()));
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("no room") && detail.contains(".segment"), "{detail}");
        assert!(!answer.header("retry-after").is_empty());
        assert_eq!(world.get(&format!("{EVENTS}/0")).await.json()["shredded"], json!(true));
    }
    world.files.set_capacity(None);
    let answer = shred().await;
    assert_eq!((answer.status, answer.json()), (200, json!({"existed": false})));
}

#[tokio::test]
async fn a_disk_that_fails_stops_writes_and_says_so() {
    let world = World::with_store().await;
    world.append("a-1", &json!({"type": "A"})).await;
    world.files.wait_for_spare();
    world.files.fail_syncs(true);
    for _ in 0..2 {
        let answer = world.post(EVENTS, &json!({"type": "B"})).await;
        assert_eq!(answer.problem(), (503, "unavailable".into()));
        assert!(!answer.header("retry-after").is_empty());
    }
    let page = world.get(EVENTS).await.json();
    assert_eq!((&page["events"][0]["type"], page["events"].as_array().unwrap().len()), (&json!("A"), 1));
}
