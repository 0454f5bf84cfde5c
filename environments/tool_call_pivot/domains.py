"""Eight trades, each with its own words, tools and arguments; what happens in them follows the same policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True, frozen=True)
class Domain:
    """A trade: what is booked, what its date and its option are called, and how the tools name all that.

    `person` and `secret` are what a customer proves who they are with: the phrase and the argument's name.
    """

    trade: str
    companies: tuple[str, ...]
    record: str
    records: str
    prefix: str
    items: tuple[str, ...]
    date: str
    date_field: str
    option: str
    option_field: str
    options: tuple[str, ...]
    person: tuple[str, str]
    secret: tuple[str, str]
    authenticate: str
    get: str
    list: str
    cancel: str
    move: str
    change: str

    @property
    def id_field(self) -> str:
        return f"{self.record.split()[-1]}_id"

    def declarations(self) -> dict[str, dict[str, Any]]:
        """The tools by what they are for."""
        record, record_id = (
            self.record,
            {self.id_field: ("string", f"Id of the {self.record}, as in {self.prefix}-1234.")},
        )
        new_date = {f"new_{self.date_field}": ("string", f"The new {self.date}, YYYY-MM-DD.")}
        new_option = {f"new_{self.option_field}": ("string", f"The new {self.option}.", self.options)}
        (person, person_field), (secret, secret_field) = self.person, self.secret
        refund = {"refund": ("integer", "What is paid back, in euros.")}
        fee = {"fee": ("integer", "What the customer pays for it, in euros.")}
        return {
            "authenticate": declared(
                self.authenticate,
                "Verify who the customer is.",
                {person_field: ("string", f"The {person}."), secret_field: ("string", f"The {secret}.")},
            ),
            "get": declared(self.get, f"One {record} with all its details.", record_id),
            "list": declared(
                self.list, f"All {self.records} of a customer.", {person_field: ("string", f"The {person}.")}
            ),
            "cancel": declared(self.cancel, f"Cancel {one(record)}.", {**record_id, **refund}),
            "move": declared(self.move, f"Give {one(record)} another {self.date}.", {**record_id, **new_date, **fee}),
            "change": declared(
                self.change, f"Change the {self.option} of {one(record)}.", {**record_id, **new_option, **fee}
            ),
            "transfer": declared(
                "transfer_to_human",
                "Hand the customer over to a colleague.",
                {"reason": ("string", "Why, as the policy names it.", REASONS)},
            ),
        }


def one(noun: str) -> str:
    """The noun with its article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


REASONS = ("complaint", "group", "invoice", "not_verified")


def declared(name: str, description: str, parameters: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
    """A tool in the Responses form; a parameter is its type, its description and perhaps its values."""
    properties = {
        field: {"type": given[0], "description": given[1], **({"enum": [*given[2]]} if len(given) > 2 else {})}
        for field, given in parameters.items()
    }
    schema = {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
    return {"type": "function", "name": name, "description": description, "parameters": schema, "strict": True}


DOMAINS = (
    Domain(
        trade="furniture shop",
        companies=("Holmvik", "Oak & Ash", "Tischler"),
        record="order",
        records="orders",
        prefix="ORD",
        items=("garden chair", "oak desk", "bookcase", "bed frame", "wardrobe", "dining table", "floor lamp"),
        date="delivery date",
        date_field="delivery_date",
        option="delivery slot",
        option_field="slot",
        options=("morning", "afternoon", "evening"),
        person=("customer number", "customer_number"),
        secret=("postcode", "postcode"),
        authenticate="verify_customer",
        get="get_order",
        list="list_orders",
        cancel="cancel_order",
        move="reschedule_delivery",
        change="change_delivery_slot",
    ),
    Domain(
        trade="airline",
        companies=("Norfly", "Azura", "Kestrel Air"),
        record="booking",
        records="bookings",
        prefix="FLT",
        items=("flight to Lisbon", "flight to Oslo", "flight to Athens", "flight to Porto", "flight to Riga"),
        date="departure date",
        date_field="departure_date",
        option="cabin",
        option_field="cabin",
        options=("economy", "comfort", "business"),
        person=("frequent flyer number", "flyer_number"),
        secret=("booking password", "booking_password"),
        authenticate="authenticate_traveller",
        get="retrieve_booking",
        list="search_bookings",
        cancel="cancel_booking",
        move="change_flight_date",
        change="change_cabin",
    ),
    Domain(
        trade="hotel",
        companies=("Hotel Meridian", "The Larch", "Casa Verde"),
        record="reservation",
        records="reservations",
        prefix="RES",
        items=("weekend with breakfast", "three-night stay", "family stay", "spa stay", "single night"),
        date="arrival date",
        date_field="arrival_date",
        option="room type",
        option_field="room_type",
        options=("garden view", "sea view", "suite"),
        person=("guest number", "guest_number"),
        secret=("check-in code", "check_in_code"),
        authenticate="identify_guest",
        get="fetch_reservation",
        list="reservations_of_guest",
        cancel="cancel_reservation",
        move="move_reservation",
        change="change_room_type",
    ),
    Domain(
        trade="theatre",
        companies=("Lyric Theatre", "Stadthaus", "The Round"),
        record="ticket",
        records="tickets",
        prefix="TIX",
        items=("seat for The Tempest", "seat for Tosca", "seat for Giselle", "seat for Medea", "seat for Faust"),
        date="date of the performance",
        date_field="performance_date",
        option="section",
        option_field="section",
        options=("stalls", "balcony", "gallery"),
        person=("subscriber number", "subscriber_number"),
        secret=("ticket phrase", "ticket_phrase"),
        authenticate="check_subscriber",
        get="show_ticket",
        list="tickets_of_subscriber",
        cancel="return_ticket",
        move="exchange_performance",
        change="change_section",
    ),
    Domain(
        trade="car rental",
        companies=("Roadly", "Carro", "Blue Key"),
        record="rental",
        records="rentals",
        prefix="CAR",
        items=("weekend rental", "airport rental", "one-way rental", "week-long rental", "business rental"),
        date="pick-up date",
        date_field="pick_up_date",
        option="car class",
        option_field="car_class",
        options=("compact", "estate", "van"),
        person=("driver number", "driver_number"),
        secret=("rental key", "rental_key"),
        authenticate="verify_driver",
        get="get_rental",
        list="list_rentals",
        cancel="cancel_rental",
        move="move_pick_up",
        change="change_car_class",
    ),
    Domain(
        trade="language school",
        companies=("Lingua", "Parla", "The Word House"),
        record="enrolment",
        records="enrolments",
        prefix="ENR",
        items=("Spanish course", "Italian course", "Polish course", "Dutch course", "Greek course", "Swedish course"),
        date="start date",
        date_field="start_date",
        option="group",
        option_field="group",
        options=("early group", "noon group", "evening group"),
        person=("student number", "student_number"),
        secret=("campus code", "campus_code"),
        authenticate="confirm_student",
        get="get_enrolment",
        list="enrolments_of_student",
        cancel="withdraw_enrolment",
        move="defer_enrolment",
        change="switch_group",
    ),
    Domain(
        trade="ferry line",
        companies=("Skagen Line", "Baltica", "Isola Ferries"),
        record="passage",
        records="passages",
        prefix="SEA",
        items=("crossing to Gotland", "crossing to Corfu", "crossing to Bornholm", "crossing to Elba"),
        date="sailing date",
        date_field="sailing_date",
        option="deck",
        option_field="deck",
        options=("lower deck", "upper deck", "sun deck"),
        person=("passenger number", "passenger_number"),
        secret=("boarding word", "boarding_word"),
        authenticate="verify_passenger",
        get="look_up_passage",
        list="passages_of_passenger",
        cancel="cancel_passage",
        move="rebook_passage",
        change="change_deck",
    ),
    Domain(
        trade="tool hire",
        companies=("Hammer & Co", "Torque", "Site Supply"),
        record="hire",
        records="hires",
        prefix="HIR",
        items=("cement mixer", "tile saw", "floor sander", "chipper", "scaffold tower", "steam cleaner"),
        date="hire date",
        date_field="hire_date",
        option="handover",
        option_field="handover",
        options=("depot pick-up", "site drop-off", "night drop-off"),
        person=("account number", "account_number"),
        secret=("site code", "site_code"),
        authenticate="open_account",
        get="get_hire",
        list="list_hires",
        cancel="cancel_hire",
        move="move_hire",
        change="change_handover",
    ),
)
