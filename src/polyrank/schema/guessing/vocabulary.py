"""The words that names of columns are made of, by what they tell."""

from __future__ import annotations

from typing import Literal


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


USER = _listed(
    "user u member customer viewer visitor account buyer reader listener player consumer person "
    "client cookie device"
)
ITEM = _listed(
    "item i video v product p document doc article photo post note news song track movie film book "
    "listing goods sku feed content candidate creative ad advert hotel job game app restaurant "
    "recipe business episode show clip image pin offer asin isbn"
)
REQUEST = _listed(
    "request req r impression imp pageview session sess s query q search srch auction list"
)
"""Nouns of the three keys, the likeliest first."""

BARE = _set(
    "user member customer viewer visitor uuid item video product movie article song track asin "
    "isbn sku"
)
"""Nouns that name a key without an "id" beside them."""

ID_MARKS = _set("id ids key hash uuid guid no")
FILLERS = ID_MARKS | _set("raw anon encrypted target new")

GOOD = _set(
    "click clicks clicked clk like likes liked follow follows followed share shares shared comment "
    "comments commented purchase purchases purchased buy buys bought order orders ordered "
    "conversion conversions convert converted favorite favourite favorited fav collect collected "
    "bookmark bookmarked save saved subscribe subscribed cart addtocart install installed download "
    "downloaded signup booked booking view views viewed play played watch watched read open opened "
    "finish finished complete completed completion enter entered engage engaged engagement "
    "satisfied satisfaction forward forwarded reply replied repost reposted retweet retweeted "
    "reshare upvote upvoted heart love loved tip gift donate interact interacted interaction visit "
    "visited checkout paid pay payment apply applied accept accepted interested thumbsup feedback"
)
BAD = _set(
    "dislike dislikes disliked hate hated report reports reported block blocked mute muted hide "
    "hidden skip skips skipped unfollow unfollowed unlike unliked unsubscribe unsubscribed "
    "downvote downvoted complaint complain complained refund refunded bounce bounced dismiss "
    "dismissed cancel cancelled canceled uninstall uninstalled negative thumbsdown"
)
GENERIC = _set("label target outcome response reward")
"""Responses of a user, by sign; the generic ones only say that there is one."""

ACTIONS = _set("behavior behaviour action event feedback response label")
ACTS = _set("pv impression exposure none no to add item null")
"""Names of kinds of responses, and values of them that are no responses."""

AMOUNTS = _set("gmv revenue spend spent paid")

HISTORY = _set(
    "hist history historical past last previous prev prior recent before ever avg average mean "
    "median total sum count cnt num number rate ctr cvr freq frequency lifetime days weekly daily "
    "monthly seq sequence"
)
SEQUENCE = _set("hist history seq sequence recent last past previous")

SPENT = _set(
    "watch watching watched play playing played view viewing read reading stay staying dwell "
    "listen listening spent browse engagement"
)
MEASURE = _set("time duration length")
UNITS: dict[str, Literal["ms", "s", "min"]] = {
    **dict.fromkeys(_set("ms msec msecs millis millisecond milliseconds"), "ms"),
    **dict.fromkeys(_set("s sec secs second seconds"), "s"),
    **dict.fromkeys(_set("min mins minute minutes"), "min"),
}
SHARE = _set("ratio rate percent percentage pct fraction progress")
RATING = _set("rating ratings stars star")
SUMMARY = _set("avg mean average count cnt num number")

MASK = _set("mask observed labeled labelled")

CLOCK = _set(
    "time timestamp ts t date datetime dt unixtime epoch at day hour created updated published "
    "clock when"
)
PAST_EVENT = _set(
    "upload publish published birth updated last expire expiry install register registered first "
    "modified release launch"
)
"""Beside a clock word: another moment than that of the row."""

FLAGS = _set(
    "weekend holiday weekday workday new old mobile desktop ad ads sponsored organic promo "
    "promoted discount live rand random male female member vip premium active inactive author "
    "creator streamer seller night day test bot login logged wifi first last adult verified "
    "original lowactive returning guest vertical hd"
)
"""After ``is_``: these tell of user, item or setting, not of a response."""

USER_TRAITS = _set(
    "age gender sex occupation profession income education membership vip register fans followers "
    "following"
)
ITEM_TRAITS = _set(
    "author creator artist publisher seller shop merchant brand category cate cat genre genres tag "
    "tags title price music upload topic topics"
)
SETTING = _set(
    "hour hourmin weekday dow tab page device os network query session request channel platform "
    "scenario scene slot surface screen weekend holiday position browser"
)

POSITION = _set("position pos rank slot")
POSITION_BESIDE = _set("item in list page display displayed shown on feed index no num result")
PROPENSITY = _set("propensity pscore")
PROBABILITY = _set("prob probability")
POLICY = _set("action logging logged behavior behaviour exploration policy")
WEIGHT = _set("weight weights wt")
WEIGHT_BESIDE = _set(
    "sample instance row example importance loss observation survey case ips inverse weight wt"
)

MEASURED = _set(
    "age num count cnt days price amount total size width height length duration income salary "
    "score rate ratio distance weeks minutes seconds ms balance gain gains loss losses wage sales "
    "budget quantity qty percent pct avg mean std sum max min temperature lat lon latitude "
    "longitude views likes fans followers following friends dividends len"
)
CODED = _set(
    "id ids code type category cate cat class kind group tag zip zipcode postal region city "
    "country os device brand model version flag feat feature onehot gender sex status genre lang "
    "language channel tab page hash slot platform network campaign segment cluster author creator "
    "hour weekday month dow hourmin bucket level"
)
"""Whole numbers under these names are amounts, or codes of something."""

TAILS = ("id", "time", "duration", "seq")
HEADS = frozenset([*USER, *ITEM, *REQUEST, *SPENT, *GOOD, "event", "author", "music"])
"""A head and a tail written together (``userid``) are two words."""
