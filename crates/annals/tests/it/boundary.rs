//! Decisions on a query: nobody takes more than two courses, and a course has at most three students.

use std::collections::BTreeMap;

use annals::store::{Query, StreamName};
use annals::{Decider, Event, EventStore, ExecuteError, Tag};
use serde::{Deserialize, Serialize};

use super::account::store;

#[derive(Event, Serialize, Deserialize)]
enum EnrolmentEvent {
    StudentEnrolled {
        #[event(tag)]
        student: u32,
        #[event(tag)]
        course: u32,
    },
}

struct Enrol {
    student: u32,
    course: u32,
}

#[derive(Debug, PartialEq, thiserror::Error)]
enum Refusal {
    #[error("the course is full")]
    Full,
    #[error("the student is busy")]
    Busy,
}

/// Pairs of student and course.
struct Enrolment;

impl Decider for Enrolment {
    type Command = Enrol;
    type Event = EnrolmentEvent;
    type State = Vec<(u32, u32)>;
    type Error = Refusal;
    const CATEGORY: &'static str = "enrolment";

    fn decide(command: &Enrol, pairs: &Vec<(u32, u32)>) -> Result<Vec<EnrolmentEvent>, Refusal> {
        let Enrol { student, course } = *command;
        if pairs.iter().filter(|pair| pair.1 == course).count() >= 3 {
            return Err(Refusal::Full);
        }
        if pairs.iter().filter(|pair| pair.0 == student).count() >= 2 {
            return Err(Refusal::Busy);
        }
        Ok(vec![EnrolmentEvent::StudentEnrolled { student, course }])
    }

    fn evolve(mut pairs: Vec<(u32, u32)>, event: &EnrolmentEvent) -> Vec<(u32, u32)> {
        let EnrolmentEvent::StudentEnrolled { student, course } = *event;
        pairs.push((student, course));
        pairs
    }
}

pub(crate) async fn enrol(store: EventStore, student: u32, course: u32) -> Option<(u32, u32)> {
    let boundary = Query::tags([Tag::of("student", &student)]).or(Query::tags([Tag::of("course", &course)]));
    let stream = StreamName::of("enrolment", &student.to_string()).unwrap();
    match store.execute_on::<Enrolment>(boundary, stream, Enrol { student, course }).retries(10_000).await {
        Ok(_) => Some((student, course)),
        Err(ExecuteError::Rejected(_)) => None,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_rules_hold_whoever_is_faster() {
    let store = store().await;
    let mut tasks = tokio::task::JoinSet::new();
    for student in 0..8 {
        for course in 0..4 {
            tasks.spawn(enrol(store.clone(), student, course));
        }
    }
    let pairs: Vec<(u32, u32)> = tasks.join_all().await.into_iter().flatten().collect();
    let (mut students, mut courses) = (BTreeMap::<u32, u32>::new(), BTreeMap::<u32, u32>::new());
    for (student, course) in &pairs {
        *students.entry(*student).or_default() += 1;
        *courses.entry(*course).or_default() += 1;
    }
    assert!(
        students.values().all(|count| *count <= 2) && courses.values().all(|count| *count <= 3),
        "{pairs:?}"
    );
    // Four courses of three places. One that is not full would have at least six students who are busy elsewhere, twice
    // each, and there are only nine other places.
    assert_eq!(pairs.len(), 12, "{pairs:?}");
}
