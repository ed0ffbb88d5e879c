use super::*;

fn spool(directory: &Path) -> Spool {
    Spool::of(directory, "slack-1".to_owned())
}

fn notice(number: u32) -> Notice {
    Notice { id: number.to_string(), ..Notice::test(&"web1".parse().unwrap()) }
}

fn ids(spool: &Spool) -> Vec<String> {
    spool.first(usize::MAX).unwrap().into_iter().map(|notice| notice.id).collect()
}

#[test]
fn what_was_put_down_is_there_in_its_order_until_it_is_removed() {
    let home = tempfile::tempdir().unwrap();
    let spool = spool(home.path());
    assert_eq!((ids(&spool).len(), spool.standing("a".into()).waiting), (0, 0));
    (0..5).for_each(|number| spool.append(&[&notice(number)]).unwrap());
    assert_eq!(ids(&spool), ["0", "1", "2", "3", "4"]);
    spool.remove_up_to("1").unwrap();
    spool.append(&[&notice(5)]).unwrap();
    assert_eq!((ids(&spool), spool.standing("a".into()).waiting), (["2", "3", "4", "5"].map(str::to_owned).into(), 4));
    spool.remove_up_to("1").unwrap();
    assert_eq!(ids(&spool).len(), 4, "somebody else had removed it");
    spool.remove_up_to("5").unwrap();
    assert!(ids(&spool).is_empty() && fs::read_dir(home.path()).unwrap().next().is_none(), "nothing is left");
    spool.append(&[&notice(6)]).unwrap();
    assert_eq!(ids(&spool), ["6"], "an old place counts for nothing in a new file");
}

#[test]
fn what_a_killed_run_left_of_a_line_loses_no_other_one() {
    let home = tempfile::tempdir().unwrap();
    let spool = spool(home.path());
    spool.append(&[&notice(0)]).unwrap();
    let path = spool.path("queue");
    let whole = fs::read(&path).unwrap();
    // Without its end, but whole, it is as good as whole.
    for length in 0..whole.len() - 1 {
        fs::write(&path, [&whole[..], &whole[..length]].concat()).unwrap();
        assert_eq!(ids(&spool), ["0"], "{length}");
        spool.append(&[&notice(1)]).unwrap();
        assert_eq!(ids(&spool), ["0", "1"], "{length}");
    }
}

#[test]
fn of_too_much_the_oldest_is_dropped_and_counted() {
    let home = tempfile::tempdir().unwrap();
    let spool = spool(home.path());
    let mut long = notice(0);
    long.trouble.cause = "x".repeat(60_000);
    let line = serde_json::to_vec(&long).unwrap().len() + 1;
    let many = usize::try_from(BYTES_AT_MOST).unwrap() / line + 1;
    let mut text = Vec::with_capacity(many * line);
    for _ in 0..many {
        serde_json::to_writer(&mut text, &long).unwrap();
        text.push(b'\n');
    }
    fs::write(spool.path("queue"), text).unwrap();
    spool.append(&[&notice(7)]).unwrap();
    let (left, dropped) = (ids(&spool), usize::try_from(spool.health().dropped).unwrap());
    assert!(left.last().is_some_and(|last| last == "7") && dropped > many / 3, "{dropped} of {many}");
    assert_eq!(left.len() + dropped, many + 1);
}

#[test]
fn what_is_put_aside_waits_no_more() {
    let home = tempfile::tempdir().unwrap();
    let spool = spool(home.path());
    (0..2).for_each(|number| spool.append(&[&notice(number)]).unwrap());
    spool.bury(&notice(0)).unwrap();
    assert_eq!(ids(&spool), ["1"]);
    assert!(fs::read_to_string(spool.path("dead")).unwrap().contains("\"id\":\"0\""));
}

#[test]
fn what_is_too_long_is_dropped_and_counted_and_what_is_behind_it_is_sent() {
    let home = tempfile::tempdir().unwrap();
    let spool = spool(home.path());
    let mut long = notice(1);
    long.trouble.cause = "x".repeat(70_000);
    spool.append(&[&notice(0), &long, &notice(2)]).unwrap();
    assert_eq!(ids(&spool), ["0"]);
    assert!(!spool.drop_too_long().unwrap(), "what is before it is sent first");
    spool.remove_up_to("0").unwrap();
    assert!(spool.drop_too_long().unwrap() && !spool.drop_too_long().unwrap());
    assert_eq!((ids(&spool), spool.health().dropped), (vec!["2".to_owned()], 1));
    spool.remove_up_to("2").unwrap();
    spool.append(&[&long]).unwrap();
    assert!(spool.drop_too_long().unwrap() && !spool.drop_too_long().unwrap());
    assert_eq!((spool.standing("a".into()).waiting, spool.health().dropped), (0, 2));
    // What a kill left of a line is none that was promised.
    fs::write(spool.path("queue"), "x").unwrap();
    assert!(!spool.drop_too_long().unwrap());
}
