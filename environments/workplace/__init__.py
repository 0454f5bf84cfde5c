"""An office: mail, calendar, website analytics, project board and customers, tasks judged by what the calls changed."""
