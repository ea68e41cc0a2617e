"""Chat templates render byte for byte as transformers renders them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest

from zoo.errors import CheckpointError, UsageError
from zoo.text import ChatTemplate

from .released_templates import TEMPLATES

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are helpful<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA2 = """{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}\
{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}\
{% set system_message = false %}{% endif %}{% for message in loop_messages %}\
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}\
{% if loop.index0 == 0 and system_message != false %}\
{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}\
{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}\
{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}\
{{ ' ' ~ content.strip() ~ ' ' ~ eos_token }}{% endif %}{% endfor %}"""
LLAMA3 = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = strftime_now("%d %b %Y") %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{#- This block extracts the system message, so we can slot it into the right place. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\nToday Date: " + date_string + "\\n\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
        {{- message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}
        {{- "<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
QWEN = """{%- macro render_content(content) %}
    {%- if content is string %}{{- content }}
    {%- else %}{%- for item in content %}{%- if 'text' in item %}{{- item.text }}{%- endif %}{%- endfor %}
    {%- endif %}
{%- endmacro %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1, seen=[]) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
        {%- set ns.seen = ns.seen + [message] %}
    {%- endif %}
    {%- if loop.index > 50 %}{%- break %}{%- endif %}
{%- endfor %}
{%- for message in messages if message.role != 'hidden' %}
    {%- if message.role == 'tool' %}{%- continue %}{%- endif %}
    {{- '<|im_start|>' ~ message.role ~ '\\n' ~ render_content(message.content) }}
    {%- if message.role == 'assistant' and loop.index0 > ns.last_query_index %}
        {%- generation %}
            {{- '<think>' + (message.reasoning_content or '').strip('\\n') + '</think>' }}
        {%- endgeneration %}
    {%- endif %}
    {%- for call in message.tool_calls or [] %}
        {{- '<tool_call>' ~ call.function.arguments|tojson(ensure_ascii=true) ~ call|tojson(sort_keys=true) }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{{- messages|selectattr('role', 'equalto', 'user')|map(attribute='content')|map('string')|join('+')|replace('a', 'A') }}
{{- dict(a=1, **{'b': 2}).items()|list|string ~ '%s %5.2f' % ('x', 1) }}
{{- '{:>4}'.format(7) ~ '%d-%s'|format(1700000000, 'y') }}
{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
{{ none }}{{ undefined_name }}{{ [1, 'a'] }}{{ (1, 2) }}{{ {'k': none} }}{{ 1.50 }}{{ true }}{{ 7 // 2 ~ 7 % 4 }}
"""
HARMLESS = (
    "{% for m in messages %}\n  {% if true %}\n x {{ m.content }}  \n  {% endif %}\n{% endfor %}\n  {# note #}\nend\n"
)

CHATS: list[list[dict[str, Any]]] = [
    [{"role": "user", "content": 'Hi <b>&amp; "you"</b> 漢字 😀\n  two lines  '}],
    [{"role": "system", "content": " Be brief. "}, {"role": "user", "content": "Hi"}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "reasoning_content": "\nhm\n"},
        {"role": "user", "content": "What is {{ 7 * 7 }} {% raw %}?"},
    ],
    [
        {"role": "user", "content": "weather"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"type": "function", "function": {"name": "weather", "arguments": {"city": "Köln", "n": 10**9}}}
            ],
        },
        {"role": "tool", "content": '{"°C": 21}'},
    ],
    [{"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image"}]}],
    [{"role": "assistant", "content": "out of turn"}],
    [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "<think>\nwell\n</think>\n\nb"},
        {"role": "user", "content": "<tool_response>c</tool_response>"},
        {"role": "assistant", "content": "<think>hm</think>d"},
    ],
]
TOOLS = [
    {"type": "function", "function": {"name": "f", "description": "<é>", "parameters": {"b": [1, 2.5, None], "a": {}}}}
]
VARIABLES = {"bos_token": "<s>", "eos_token": "</s>", "date_string": "26 Jul 2024", "enable_thinking": False}


@pytest.mark.slow
@pytest.mark.parametrize(
    "template",
    [CHATML, LLAMA2, LLAMA3, QWEN, HARMLESS, *TEMPLATES.values()],
    ids=["chatml", "llama2", "llama3", "qwen", "blocks", *TEMPLATES],
)
def test_prompts_equal_transformers(template: str):
    pytest.importorskip("transformers", reason="prompts are compared with transformers'")
    from transformers.utils.chat_template_utils import render_jinja_template

    ours, compared = ChatTemplate(template), 0
    for chat in CHATS:
        for tools in (None, TOOLS):
            for asks in (True, False):
                try:
                    [expected], _ = render_jinja_template(
                        [chat], tools=tools, chat_template=template, add_generation_prompt=asks, **VARIABLES
                    )
                except Exception:  # whatever theirs cannot render, ours must refuse
                    with pytest.raises(UsageError, match="the chat template"):
                        ours.render(chat, tools=tools, add_generation_prompt=asks, variables=VARIABLES)
                    continue
                compared += 1
                assert ours.render(chat, tools=tools, add_generation_prompt=asks, variables=VARIABLES) == expected
    assert compared >= 8


def test_the_date_is_todays():
    assert ChatTemplate("{{ strftime_now('%Y') }}").render([{}]) == str(datetime.now().year)


def test_what_the_template_objects_to_is_repeated():
    template = ChatTemplate("{{ raise_exception('Roles must alternate') }}")
    with pytest.raises(UsageError, match=r"^the chat template refuses these messages: Roles must alternate$"):
        template.render([{"role": "user", "content": "x"}])


def test_a_message_without_what_the_template_reads_is_an_error():
    with pytest.raises(UsageError, match="cannot render these messages"):
        ChatTemplate(CHATML).render([{"role": "user"}])


@pytest.mark.parametrize("source", ["{% for", "{{ 1 + }}", "{% unheard_of %}", "{{ x|unheard_of }}", "{{" + "(" * 9999])
def test_what_is_not_a_template_is_an_error_that_names_the_file(source: str):
    with pytest.raises(CheckpointError, match=r"^folder/tokenizer_config\.json: chat_template: "):
        ChatTemplate(source, file="folder/tokenizer_config.json")


def test_the_line_of_a_mistake_is_named():
    with pytest.raises(CheckpointError, match="line 3: "):
        ChatTemplate("fine\nfine\n{% endfor %}")


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "there are no messages"),
        (
            [{"role": "user", "content": object()}],
            re.escape("messages[0].content is object, and a chat template takes only"),
        ),
        ([{"role": "user", 5: "x"}], re.escape("messages[0] has a key that is not a text")),
    ],
)
def test_messages_are_plain_data(messages: list, message: str):
    with pytest.raises(UsageError, match=message):
        ChatTemplate(CHATML).render(messages)


def test_the_callers_messages_stay_as_they_are():
    chat = [{"role": "user", "content": "x", "list": [1]}]
    template = ChatTemplate("{% set ns = namespace(m=messages) %}{% set ns.m = ns.m + [1] %}{{ ns.m|length }}")
    assert template.render(chat) == "2"
    assert chat == [{"role": "user", "content": "x", "list": [1]}]


def test_each_rendering_has_a_budget_of_its_own():
    template = ChatTemplate("{{ 'x' * 4000000 }}")
    assert {len(template.render([{}])) for _ in range(20)} == {4_000_000}
