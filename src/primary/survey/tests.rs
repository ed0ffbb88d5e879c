use super::*;

#[test]
fn a_node_is_in_line_only_where_everything_was_asked_and_nothing_is_missed() {
    let seen = Served { current: 2, ..Served::default() };
    assert_eq!(shown(&Served::default()), State::InLine, "nothing is probed there");
    assert_eq!(shown(&seen), State::InLine);
    let missed = Served { missed: Some("nginx".into()), unasked: 1, ..seen.clone() };
    assert_eq!(shown(&missed), State::NotServed { place: "nginx".into() });
    assert_eq!(shown(&Served { unasked: 1, ..seen.clone() }), State::PartlySeen);
    let older = Served { older: 1, missed: Some("nginx".into()), ..seen };
    assert_eq!(shown(&older), State::ServesOlder { place: "a service".into() }, "no place was named");
}
