"""Making users in the admin."""

from django.contrib.auth.models import Group, User

from tests.admin_pages import filled, page, signed_in


def test_a_superuser_makes_a_user_who_can_sign_in_and_puts_them_into_a_group(superuser: User) -> None:
    browser = signed_in(superuser)
    password = "a-long-enough-word"
    fields = filled(browser, page(User, "add"), username="carol", password1=password, password2=password)
    answer = browser.post(page(User, "add"), fields)
    carol = User.objects.get(username="carol")
    assert answer["Location"] == page(carol, "change")
    assert carol.check_password(password)

    members = Group.objects.get(name="members")
    answer = browser.post(page(carol, "change"), filled(browser, page(carol, "change"), groups=[members.pk]))
    assert answer.status_code == 302
    assert [*carol.groups.all()] == [members]
    carol.refresh_from_db()
    assert carol.username == "carol"


def test_a_user_without_a_name_is_not_made(superuser: User) -> None:
    answer = signed_in(superuser).post(page(User, "add"), {"usable_password": "true"})
    assert answer.status_code == 200
    assert "This field is required" in answer.content.decode()
    assert User.objects.count() == 1
